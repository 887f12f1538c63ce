"""A user to practise with: goals, agenda, profiles, surface forms, a rule-based expert, and the environment.

Neither TensorFlow nor Rasa nor the model is imported here.
"""

from rasa_hybrid.simulation.agents import AgentTurn, DialogueAgent
from rasa_hybrid.simulation.environment import Environment, Rollout, same_goal, self_play
from rasa_hybrid.simulation.expert import Expert, track
from rasa_hybrid.simulation.flow import SystemFlow, decided, state_features
from rasa_hybrid.simulation.located_yaml import SimulatorError
from rasa_hybrid.simulation.profiles import Profile
from rasa_hybrid.simulation.rewards import RewardedTurn, Rewards
from rasa_hybrid.simulation.side_effects import SideEffects
from rasa_hybrid.simulation.simulator import Simulator, load_simulator, surface_names

__all__ = [
    "AgentTurn",
    "DialogueAgent",
    "Environment",
    "Expert",
    "Profile",
    "RewardedTurn",
    "Rewards",
    "Rollout",
    "SideEffects",
    "Simulator",
    "SimulatorError",
    "SystemFlow",
    "decided",
    "load_simulator",
    "same_goal",
    "self_play",
    "state_features",
    "surface_names",
    "track",
]
