"""The three ways of learning: supervised, imitation, reinforcement."""
