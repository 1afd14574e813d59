"""Using a model: everyone ranked, alerts with reasons that add up, labels for the next study."""
