"""Training of denoisers: configuration, data, networks, modules, and the task."""
