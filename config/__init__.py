"""What an operator may decide: one TOML file, validated whole before anything starts, and the centre profiles."""
