"""How well a system understands and acts: belief accuracy, success, turns, with intervals."""
