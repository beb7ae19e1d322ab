"""The README's loop, with printing: one environment; act, step, store, and learn whenever the memory is full."""

import gymnasium as gym
import torch

from ppo_cli import PPOAgent

seed = 0
torch.manual_seed(seed)
env = gym.make("CartPole-v1")
agent = PPOAgent(state_dim=4, action_dim=2)
returns: list[float] = []
steps = 0
state, _ = env.reset(seed=seed)

while steps < 40_000 and (len(returns) < 100 or sum(returns[-100:]) / 100 < 195):
    episode_return, done = 0.0, False
    while not done:
        action, log_prob, value = agent.get_action(state)
        next_state, reward, terminated, truncated, _ = env.step(action)
        done = terminated or truncated
        agent.store_experience(state, action, reward, value, log_prob, done, truncated=truncated, next_state=next_state)
        state, episode_return, steps = next_state, episode_return + float(reward), steps + 1
    returns.append(episode_return)
    state, _ = env.reset()
    if agent.memory.is_full():
        agent.update()
        last = returns[-100:]
        print(f"{steps} steps: mean return of the last {len(last)} episodes is {sum(last) / len(last):.1f}")

print(f"{len(returns)} episodes, {steps} steps")
agent.save("quickstart.pt")
env.close()
