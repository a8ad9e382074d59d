"""Training of classifiers: configuration, augmentation, modules, and the task."""
