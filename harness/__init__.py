"""The core: models, the engine that walks conversations, the run store, scores. Imports `judges` and `tasks`."""
