package redistest

import "github.com/redis/go-redis/v9/logging"

// Silence ends what go-redis says of failed connections on the process' standard
// error, for tests that take Redis away on purpose: hundreds of such lines hide the
// one of a test that fails. Redis calls it; a package with clients of its own does
// so in its TestMain.
func Silence() { logging.Disable() }
