# plateau.py
from ppo_cli import Callback


class Plateau(Callback):
    """Ends the run when the best evaluation has not been surpassed for a while."""

    def __init__(self, patience=5):
        self.patience, self.best, self.waited = patience, float("-inf"), 0

    def on_evaluation(self, evaluation, run):
        self.waited = 0 if evaluation.mean > self.best else self.waited + 1
        self.best = max(self.best, evaluation.mean)
        if self.waited >= self.patience:
            run.stop(f"{self.waited} evaluations without a better one than {self.best:g}")

    def state_dict(self):
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state):
        self.best, self.waited = state["best"], state["waited"]
