"""What all trainings share: ranks, checkpoints, examples, history."""
