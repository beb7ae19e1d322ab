"""Many runs: their jobs, what is shown of them, and what they say together."""
