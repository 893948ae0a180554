package activator

import (
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// openAIPackage is the official client that is tried, as pip names it.
const openAIPackage = "openai==3.52.0"

// openAIScript goes through a cold start with a stream, then without one, then
// into an error of each kind.
const openAIScript = `
import os, openai
client = openai.OpenAI(base_url=os.environ["BASE"] + "/v1", api_key="none", max_retries=0, timeout=20)
ask = dict(model="m", messages=[{"role": "user", "content": "hi"}])
print("streamed", "".join(c.choices[0].delta.content or "" for c in client.chat.completions.create(stream=True, **ask)), flush=True)
print("whole", client.chat.completions.create(**ask).choices[0].message.content)
try:
    client.chat.completions.create(model="nobody", messages=[])
except openai.NotFoundError as e:
    print("error", e.code)
late = client.with_options(default_headers={"Pilotlight-Deadline": "1500ms"})
input()
try:
    list(late.chat.completions.create(stream=True, **ask))
except openai.APIError as e:
    print("event", e.code)
`

// python returns one that has OpenAI's client, kept in the user's cache.
func python(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("installs a Python package")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	venv := filepath.Join(cache, "pilotlight-test", openAIPackage)
	interpreter := filepath.Join(venv, "bin", "python")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if exec.CommandContext(ctx, interpreter, "-c", "import openai").Run() == nil {
		return interpreter
	}
	for _, command := range [][]string{
		{"python3", "-m", "venv", "--clear", venv},
		{interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", openAIPackage},
	} {
		if out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Skipf("OpenAI's Python client cannot be installed here: %v: %v\n%s", command, err, out)
		}
	}
	return interpreter
}

func TestOpenAIsPythonClientPassesThroughAColdStart(t *testing.T) {
	interpreter := python(t)
	w := newWorld(t, beatingPolicy)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, interpreter, "-c", openAIScript)
	cmd.Env = append(os.Environ(), "BASE="+w.url, "NO_PROXY=127.0.0.1")
	var out, wrong strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &wrong
	enter, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.untilHeld("chat", 1)
	<-time.After(1200 * time.Millisecond) // for one heartbeat
	warm := make(chan struct{}, 2)
	w.replica("chat", "r1", 1, func(rw http.ResponseWriter, r *http.Request) {
		defer func() { warm <- struct{}{} }()
		body, _ := io.ReadAll(r.Body)
		if strings.Contains(string(body), `"stream":true`) {
			rw.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(rw, `data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"hello"}}]}`+"\n\ndata: [DONE]\n\n")
			return
		}
		rw.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(rw, `{"id":"1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"hello"}}]}`)
	})
	for range 2 {
		select {
		case <-warm:
		case <-ctx.Done():
			t.Fatalf("not asked twice: %s%s", &out, &wrong)
		}
	}
	w.offers = nil
	w.offer("chat")
	w.until("the replica is gone", func() bool { return len(w.act.cfg.Queue.Offers("chat")) == 0 })
	_, _ = io.WriteString(enter, "\n")
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, &wrong)
	}
	want := "streamed hello\nwhole hello\nerror unknown-service\nevent deadline-passed\n"
	if out.String() != want {
		t.Errorf("got %q, want %q\n%s", &out, want, &wrong)
	}
}
