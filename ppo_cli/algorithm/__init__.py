"""PPO without network and without environment: rollouts, advantages, losses, gradient steps, running statistics."""
