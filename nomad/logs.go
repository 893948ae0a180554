package nomad

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/hashicorp/nomad/api"
)

const (
	logTimeout = 2 * time.Second // of one log; a frozen client never answers
	logLines   = 5               // that are shown
	logBytes   = 2 << 10         // that are read of the end, and shown
	maxLogAsks = 64              // that wait; more fail at once, and go without
	// unreadable is how long nobody asks again a node that did not answer, or for
	// logs at all without the right to read them.
	unreadable = time.Minute
)

// logAsk is one failed task whose last log lines are to be read.
type logAsk struct {
	key               jobKey
	alloc, node, task string
}

// wantLog asks for the log of a failed task, once per allocation, and reports
// whether it will be read. p.mu is held.
func (p *picture) wantLog(a logAsk) bool {
	if len(p.logs) >= maxLogAsks {
		return false
	}
	p.logs = append(p.logs, a)
	signal(p.askLogs)
	return true
}

// nextLog takes the log that was asked for first.
func (p *picture) nextLog() (logAsk, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.logs) == 0 {
		return logAsk{}, false
	}
	a := p.logs[0]
	p.logs = p.logs[1:]
	return a, true
}

// applyLog takes in the last lines of a failed task, or, if log is "", that
// there will be none.
func (p *picture) applyLog(a logAsk, log string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	j := p.jobs[a.key]
	if j == nil {
		return
	}
	h, ok := j.allocs[a.alloc]
	if !ok {
		return
	}
	h.log, h.LogDue = log, false
	j.allocs[a.alloc] = h
	p.changed(j)
}

// logLoop reads the last log lines of tasks that failed, one at a time. It needs
// read-logs; without, failures go without lines.
func (f *Fleet) logLoop(ctx context.Context) {
	var (
		deniedUntil time.Time
		silent      = make(map[string]time.Time) // nodes that did not answer, until when
	)
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.pic.askLogs:
		}
		for {
			a, ok := f.pic.nextLog()
			if !ok || ctx.Err() != nil {
				break
			}
			now := time.Now()
			maps.DeleteFunc(silent, func(_ string, until time.Time) bool { return !now.Before(until) })
			if now.Before(deniedUntil) || now.Before(silent[a.node]) {
				f.pic.applyLog(a, "")
				continue
			}
			log, err := f.lastLog(ctx, a)
			f.pic.applyLog(a, log)
			status, _ := answered(err)
			switch {
			case status == http.StatusForbidden:
				if deniedUntil.IsZero() {
					f.log.WarnContext(ctx, "the token may not read logs: failures are said without log lines; it needs the capability read-logs", "err", err)
				}
				deniedUntil = now.Add(unreadable)
			case err != nil && status == 0:
				silent[a.node] = now.Add(unreadable)
			}
		}
	}
}

// lastLog reads the end of what a task has written: to stderr, else to stdout.
func (f *Fleet) lastLog(ctx context.Context, a logAsk) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, logTimeout)
	defer cancel()
	for _, kind := range []string{"stderr", "stdout"} {
		log, err := f.readLog(ctx, a, kind)
		if err != nil {
			return "", err
		}
		if log = lastLines(log); log != "" {
			return log, nil
		}
	}
	return "", nil
}

func (f *Fleet) readLog(ctx context.Context, a logAsk, kind string) (string, error) {
	query := url.Values{
		"task": {a.task}, "type": {kind}, "plain": {"true"}, "follow": {"false"},
		"origin": {"end"}, "offset": {fmt.Sprint(logBytes)},
	}
	path := "/v1/client/fs/logs/" + url.PathEscape(a.alloc) + "?" + query.Encode()
	body, err := f.client.Raw().Response(path, (&api.QueryOptions{Namespace: a.key.namespace}).WithContext(ctx))
	if err != nil {
		if status, _ := answered(err); status >= http.StatusInternalServerError || status == http.StatusNotFound {
			return "", nil // there is none: never written, or collected
		}
		return "", err
	}
	defer body.Close()
	log, err := io.ReadAll(io.LimitReader(body, logBytes))
	if err != nil {
		return "", fmt.Errorf("read the log of %s: %w", a.alloc, err)
	}
	return string(log), nil
}

// lastLines makes one line of the last lines of a log: the first is left out if
// it may be cut.
func lastLines(log string) string {
	lines := strings.Split(log, "\n")
	if len(log) >= logBytes && len(lines) > 1 {
		lines = lines[1:]
	}
	var last []string
	for i := len(lines) - 1; i >= 0 && len(last) < logLines; i-- {
		if s := clean(lines[i], logBytes); s != "" {
			last = append([]string{s}, last...)
		}
	}
	return clean(strings.Join(last, " | "), logBytes)
}
