"""Pure builders: TickReport + RunInfo + IntelReport → one value per state file and journal."""
