"""What Rasa loads. The only room that imports Rasa."""
