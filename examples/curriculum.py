# curriculum.py
from ppo_cli import Callback


class Curriculum(Callback):
    """Lets episodes begin beside the goal, and a room further off whenever most of them reach it."""

    metrics = ("curriculum/distance",)

    def __init__(self, rooms=9, bar=0.9):
        self.rooms, self.bar, self.distance, self.since = rooms, bar, 0, 0

    def on_start(self, run):
        self._tell(run)

    def _tell(self, run):
        run.envs.call("set_start", self.rooms - self.distance, in_evaluation=True)

    def on_iteration(self, row, run):
        # the mean is of the last 100 episodes, so after as many it knows no easier ones
        known = row["rollout/episodes"] >= self.since + 100
        if known and row["rollout/episode_return_mean"] > self.bar and self.distance < self.rooms - 1:
            self.distance, self.since = self.distance + 1, row["rollout/episodes"]
            self._tell(run)
        return {"curriculum/distance": self.distance}

    def state_dict(self):
        return {"distance": self.distance, "since": self.since}

    def load_state_dict(self, state):
        self.distance, self.since = state["distance"], state["since"]
