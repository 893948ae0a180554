package history_test

import (
	"github.com/pilotlight/pilotlight/scaler/history"
	"github.com/pilotlight/pilotlight/web"
)

// The pages read the scaler's state through this and nothing else.
var _ web.Services = (*history.History)(nil)
