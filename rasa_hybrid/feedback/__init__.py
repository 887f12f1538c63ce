"""Feedback at the end of real conversations: the store of episodes, and the learner that turns them into models."""
