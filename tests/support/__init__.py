"""What tests stand on: real services, a link one can cut."""
