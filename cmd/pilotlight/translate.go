package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

type translateCommand struct {
	Text    []string      `arg:"" optional:"" help:"What to translate; without it, standard input."`
	To      string        `required:"" help:"Language to translate to, such as es." placeholder:"LANG"`
	From    string        `help:"Language of the text; without it the model detects it, if it can." placeholder:"LANG"`
	URL     string        `default:"http://127.0.0.1:8080" help:"Data plane of a running Pilotlight." placeholder:"URL"`
	Timeout time.Duration `default:"15m" help:"How long to wait for the translation, a cold start included."`
}

// Help is an example.
func (translateCommand) Help() string {
	return "Example:\n  pilotlight translate --from en --to es \"Hello, how are you today?\""
}

const (
	maxText      = 64 << 20               // bytes; far above what a policy lets a body be
	maxAnswer    = 64 << 20               // bytes
	sayAfter     = 500 * time.Millisecond // shorter waits need no words
	askEvery     = time.Second
	answerMargin = time.Second // for the answer that says what came of a held request at its deadline
)

var errNoTranslation = errors.New("the answer holds no translation: is --url the data plane of a Pilotlight?")

// Run prints the translation, and nothing else, on standard output.
func (t translateCommand) Run(ctx context.Context, std streams) error {
	base, err := baseURL("url", t.URL)
	if err != nil {
		return err
	}
	if t.Timeout <= 0 {
		return usageError{fmt.Errorf("--timeout %s: want a duration above 0, such as 90s", t.Timeout)}
	}
	text, err := t.text(ctx, std)
	if err != nil {
		return err
	}
	c := translator{base: base, http: &http.Client{}, status: newStatusLine(std.err)}
	answer, err := c.translate(ctx, translation{Text: text, Target: t.To, Source: t.From}, t.Timeout)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(std.out, answer)
	return err
}

// text to translate: the arguments, else all of standard input without the end
// of its last line.
func (t translateCommand) text(ctx context.Context, std streams) (string, error) {
	text := strings.Join(t.Text, " ")
	if len(t.Text) == 0 {
		if isTerminal(std.in) {
			_, _ = fmt.Fprintln(std.err, "Type the text, and end it with Ctrl-D on a line of its own:")
		}
		read, err := readUnless(ctx, func() ([]byte, error) { return io.ReadAll(io.LimitReader(std.in, maxText+1)) })
		if err != nil {
			return "", err
		}
		text = strings.TrimRight(string(read), "\r\n")
	}
	switch {
	case strings.TrimSpace(text) == "":
		return "", usageError{errors.New("there is nothing to translate: give TEXT, or pipe it in")}
	case len(text) > maxText:
		return "", usageError{fmt.Errorf("the text is longer than %d MiB", maxText>>20)}
	case !utf8.ValidString(text):
		return "", usageError{errors.New("the text is not UTF-8")}
	}
	return text, nil
}

// translation as POST /translate takes it.
type translation struct {
	Text   string `json:"text"`
	Source string `json:"source_lang,omitempty"`
	Target string `json:"target_lang"`
}

// translator is a client of the data plane.
type translator struct {
	base   *url.URL
	http   *http.Client
	status *statusLine
}

// translate asks, and says meanwhile what is being waited for.
func (c *translator) translate(ctx context.Context, t translation, timeout time.Duration) (string, error) {
	late := fmt.Errorf("no translation within %s; --timeout allows more", timeout)
	limited, cancel := context.WithTimeoutCause(ctx, timeout+answerMargin, late)
	defer cancel()
	watching, stop := context.WithCancel(limited)
	var watch sync.WaitGroup
	watch.Go(func() { c.watch(watching) })
	answer, err := c.post(limited, t, timeout)
	stop()
	watch.Wait()
	c.status.clear()
	if err != nil && ctx.Err() == nil && limited.Err() != nil {
		return "", late
	}
	return answer, err
}

func (c *translator) post(ctx context.Context, t translation, deadline time.Duration) (string, error) {
	body, err := json.Marshal(t)
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base.JoinPath("translate").String(), bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", mediaJSON)
	req.Header.Set("Accept", mediaJSON)
	req.Header.Set("Pilotlight-Deadline", deadline.String())
	resp, err := c.http.Do(req)
	if err != nil {
		return "", unreachable(ctx, "data plane", "url", c.base, err)
	}
	defer func() { _ = resp.Body.Close() }()
	read, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return "", unreachable(ctx, "data plane", "url", c.base, err)
	}
	if resp.StatusCode != http.StatusOK {
		return "", problemOf(resp, read)
	}
	var answer struct {
		Translation *string `json:"translation"`
	}
	if err := json.Unmarshal(read, &answer); err != nil || answer.Translation == nil {
		return "", errNoTranslation
	}
	return *answer.Translation, nil
}
