package main

// Help is an example: what a newcomer types first.
func (commands) Help() string {
	return "Example:\n  pilotlight dev\n  pilotlight translate --from en --to es \"Hello, how are you today?\""
}

// Help is an example.
func (versionCommand) Help() string { return "Example:\n  pilotlight version" }
