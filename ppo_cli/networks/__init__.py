"""From rows of observations to distributions of actions and values, as functions of one flat vector of parameters."""
