"""Engines: who executes cases elsewhere than in this process. Existing ones only; nothing here decides which machine is free."""
