//! Graph over real HTTP.
