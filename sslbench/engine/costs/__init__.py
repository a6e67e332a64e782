"""What a case takes, from names alone: its network, its pictures, its work, and how fast machines do it."""
