"""Parts of scripts/train_demo."""
