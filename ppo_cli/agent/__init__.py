"""What acts, remembers and learns: the public agent and its parts."""
