"""Training of denoisers: configuration, data, modules, and the task."""
