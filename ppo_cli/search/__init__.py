"""Settings that are looked for: Optuna proposes trials, a sweep runs them, and the best run again on fresh seeds."""
