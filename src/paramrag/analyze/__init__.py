"""What an injected document does to the model: knowledge by layer, adapters' likeness, attention, overridden priors."""
