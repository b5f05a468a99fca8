//! A simulated Microsoft 365 tenant.
