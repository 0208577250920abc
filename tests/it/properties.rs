//! Properties of the core against the model, by several drivers.
