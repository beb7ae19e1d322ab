# rnd.py
import torch
from torch import nn

from ppo_cli import RewardTransform
from ppo_cli.algorithm.moments import RunningMoments


class RND(RewardTransform):
    """Adds how badly a network predicts the random features of what follows (Burda et al. 2018, arXiv:1810.12894)."""

    def __init__(self, spec, device, scale=0.01, lr=3e-3):
        super().__init__(spec, device)
        nets = [nn.Sequential(nn.Linear(spec.obs_size, 64), nn.ReLU(), nn.Linear(64, 32)).to(device) for _ in range(2)]
        self.scale, optimizer = scale, torch.optim.Adam(nets[1].parameters(), lr)
        seen, errors = RunningMoments((spec.obs_size,), device), RunningMoments((), device)
        self.parts = {"target": nets[0], "predictor": nets[1], "optimizer": optimizer, "seen": seen, "errors": errors}

    def __call__(self, experience):
        target, predictor, optimizer, seen, errors = self.parts.values()
        rows = experience.next_observations[experience.valid].float()
        seen.update(rows)
        rows = ((rows - seen.mean) / (seen.var + 1e-8).sqrt()).float().clamp(-5.0, 5.0)
        features = target(rows).detach()
        error = (predictor(rows).detach() - features).square().mean(1)
        errors.update(error)
        for some in torch.randperm(len(rows)).split(256):
            optimizer.zero_grad()
            nn.functional.mse_loss(predictor(rows[some]), features[some]).backward()
            optimizer.step()
        bonus = self.scale * (error / errors.var.sqrt()).float()
        return experience.rewards.index_put((experience.valid,), bonus, accumulate=True)

    def state_dict(self):
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load_state_dict(self, state):
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
