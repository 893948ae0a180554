package loadgen

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// Config of one Run. Either N or Duration ends it; with both, whichever comes
// first.
type Config struct {
	URL    string // of the server; its host must be a loopback address or localhost
	Method string // "": POST if Body is set, else GET

	N           int           // requests to send; 0: no limit
	Duration    time.Duration // for how long to begin requests; those under way are finished; 0: no limit
	Concurrency int           // most requests under way at once; 0: 1
	Rate        float64       // requests due per second (open loop); 0: as fast as answers come (closed loop)
	Timeout     time.Duration // of one request, whole; 0: none

	// Body returns body and further headers of the ith request, from 0; the
	// header may be nil and must not be kept by the caller. It is called from
	// several goroutines. Nil: no body.
	Body func(i int) ([]byte, http.Header)
	// Check judges the ith answer, whose body has been read and closed. Its error
	// counts the answer as wrong. It is called from several goroutines. Nil:
	// every answer is right.
	Check func(i int, resp *http.Response, body []byte) error

	// Transport replaces the package's own, whose connections can only be to
	// loopback addresses. Nil: the own one.
	Transport http.RoundTripper
}

// ErrNotLoopback refuses a target that is not this machine.
var ErrNotLoopback = errors.New("not a loopback address")

// Validate reports every field that is out of range.
func (c Config) Validate() error {
	var errs []error
	if err := checkURL(c.URL); err != nil {
		errs = append(errs, fmt.Errorf("url %q: %w", c.URL, err))
	}
	if c.N <= 0 && c.Duration <= 0 {
		errs = append(errs, errors.New("one of n and duration must be positive"))
	}
	if c.N < 0 || c.Duration < 0 || c.Concurrency < 0 || c.Timeout < 0 || !(c.Rate >= 0) {
		errs = append(errs, errors.New("n, duration, concurrency, rate and timeout must not be negative"))
	}
	return errors.Join(errs...)
}

func checkURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil {
		return err
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return errors.New("the scheme must be http or https")
	}
	if u.Hostname() == "localhost" { // where it leads is checked when it is dialled
		return nil
	}
	addr, err := netip.ParseAddr(u.Hostname())
	if err != nil || !addr.Unmap().IsLoopback() {
		return ErrNotLoopback
	}
	return nil
}
