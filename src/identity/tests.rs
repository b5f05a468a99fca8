//! Identity against a token endpoint over real HTTP.
