"""Teach CartPole with the library's agent: act, step, store, and learn whenever the memory is full."""

from collections import deque

import gymnasium as gym

from ppo_cli import PPOAgent

env = gym.make("CartPole-v1")
agent = PPOAgent(state_dim=4, action_dim=2)
returns: deque[float] = deque(maxlen=100)  # of the last episodes

for episode in range(1, 1001):
    state, _ = env.reset()
    episode_return, done = 0.0, False
    while not done:
        action, log_prob, value = agent.get_action(state)
        next_state, reward, terminated, truncated, _ = env.step(action)
        done = terminated or truncated
        agent.store_experience(
            state, action, float(reward), value, log_prob, done, truncated=truncated, next_state=next_state
        )
        state = next_state
        episode_return += float(reward)
    returns.append(episode_return)
    if agent.memory.is_full():
        agent.update()
    mean = sum(returns) / len(returns)
    if episode % 20 == 0:
        print(f"episode {episode}: mean return of the last {len(returns)} episodes is {mean:.1f}")
    if len(returns) == 100 and mean >= 195:
        print(f"solved after {episode} episodes")
        break

agent.save("quickstart.pt")
env.close()
