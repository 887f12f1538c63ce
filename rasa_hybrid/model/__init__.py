"""The joint model: vocabulary and batching, encoder, tracker, policy network, its checkpoint."""
