"""Warehouses: what one must be able to do (`reader`, `loader`, `migrator`), the engines that do it, and which one the settings mean."""
