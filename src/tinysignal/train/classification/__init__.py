"""Training of classifiers: configuration, networks, deformation, module, and the task."""
