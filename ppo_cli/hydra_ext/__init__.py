"""All that knows of Hydra: schema, environments as configs, sweeps, and errors in plain words."""
