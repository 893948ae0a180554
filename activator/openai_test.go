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

// The official clients that are tried, as pip and npm name them.
const (
	openAIPython     = "openai==3.52.0"
	openAIJavaScript = "openai@7.57.0"
)

// Each program goes through a cold start with a stream and without one at once,
// then into an error of each kind: of a model that nobody routes, and, once there
// is no replica any more, of a deadline that passes while a stream is held, and
// while a request without one is.
const (
	openAIInPython = `
import os, openai
from concurrent.futures import ThreadPoolExecutor
client = openai.OpenAI(base_url=os.environ["BASE"] + "/v1", api_key="none", max_retries=0, timeout=20)
ask = dict(model="m", messages=[{"role": "user", "content": "hi"}])
with ThreadPoolExecutor() as pool:
    streamed = pool.submit(lambda: "".join(c.choices[0].delta.content or "" for c in client.chat.completions.create(stream=True, **ask)))
    whole = pool.submit(lambda: client.chat.completions.create(**ask).choices[0].message.content)
print("streamed", streamed.result())
print("whole", whole.result())
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
try:
    late.chat.completions.create(**ask)
except openai.APIStatusError as e:
    print("status", e.status_code, e.code)
`
	openAIInJavaScript = `
import OpenAI from "openai";
import { createInterface } from "node:readline/promises";
const client = new OpenAI({ baseURL: process.env.BASE + "/v1", apiKey: "none", maxRetries: 0, timeout: 20000 });
const ask = { model: "m", messages: [{ role: "user", content: "hi" }] };
async function streamed(options) {
  let text = "";
  for await (const c of await client.chat.completions.create({ ...ask, stream: true }, options)) text += c.choices[0].delta.content ?? "";
  return text;
}
const whole = async (options) => (await client.chat.completions.create(ask, options)).choices[0].message.content;
const answers = await Promise.all([streamed(), whole()]);
console.log("streamed", answers[0]);
console.log("whole", answers[1]);
await client.chat.completions.create({ model: "nobody", messages: [] }).catch((e) => {
  if (e instanceof OpenAI.NotFoundError) console.log("error", e.code);
});
const enter = createInterface({ input: process.stdin });
await enter[Symbol.asyncIterator]().next();
const late = { headers: { "Pilotlight-Deadline": "1500ms" } };
await streamed(late).catch((e) => { if (e instanceof OpenAI.APIError) console.log("event", e.code); });
await whole(late).catch((e) => { if (e instanceof OpenAI.APIError) console.log("status", e.status, e.code); });
enter.close();
`
)

// openAISays is what each of them prints.
const openAISays = `streamed hello
whole hello
error unknown-service
event deadline-passed
status 504 deadline-passed
`

// installed runs commands that put a package into a folder of the user's cache,
// unless works succeeds there already. It skips the test where that is not
// possible.
func installed(t *testing.T, name string, works func(dir string) []string, install func(dir string) [][]string) (dir string) {
	t.Helper()
	if testing.Short() {
		t.Skip("installs a package")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	dir = filepath.Join(cache, "pilotlight-test", name)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	try := func(args []string) ([]byte, error) {
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		if _, err := os.Stat(dir); err == nil {
			cmd.Dir = dir
		}
		return cmd.CombinedOutput()
	}
	if _, err := try(works(dir)); err == nil {
		return dir
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Skip(err)
	}
	for _, args := range install(dir) {
		if out, err := try(args); err != nil {
			t.Skipf("OpenAI's client %s cannot be installed here: %v: %v\n%s", name, args, err, out)
		}
	}
	return dir
}

func TestOpenAIsPythonClientPassesThroughAColdStart(t *testing.T) {
	t.Parallel()
	interpreter := func(dir string) string { return filepath.Join(dir, "bin", "python") }
	dir := installed(t, openAIPython,
		func(dir string) []string { return []string{interpreter(dir), "-c", "import openai"} },
		func(dir string) [][]string {
			return [][]string{{"python3", "-m", "venv", "--clear", dir},
				{interpreter(dir), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", openAIPython}}
		})
	throughAColdStart(t, exec.Command(interpreter(dir), "-c", openAIInPython))
}

func TestOpenAIsJavaScriptClientPassesThroughAColdStart(t *testing.T) {
	t.Parallel()
	if out, err := exec.CommandContext(t.Context(), "node", "--version").CombinedOutput(); err != nil {
		t.Skipf("there is no Node.js here: %v: %s", err, out)
	}
	dir := installed(t, openAIJavaScript,
		func(string) []string { return []string{"node", "--input-type=module", "-e", `await import("openai")`} },
		func(dir string) [][]string {
			return [][]string{{"npm", "install", "--prefix", dir, "--no-save", "--no-audit", "--no-fund", "--silent", openAIJavaScript}}
		})
	cmd := exec.Command("node", "--input-type=module", "-e", openAIInJavaScript)
	cmd.Dir = dir // where it looks for packages
	throughAColdStart(t, cmd)
}

// throughAColdStart runs a program that prints openAISays.
func throughAColdStart(t *testing.T, cmd *exec.Cmd) {
	w := newWorld(t, beatingPolicy)
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
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	w.untilHeld("chat", 2)
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
	late := time.After(30 * time.Second)
	for range 2 {
		select {
		case <-warm:
		case err := <-ended:
			t.Fatalf("it ended early: %v\n%s%s", err, &out, &wrong)
		case <-late:
			t.Fatal("not asked twice")
		}
	}
	w.offers = nil
	w.offer("chat")
	w.until("the replica is gone", func() bool { return len(w.act.cfg.Queue.Offers("chat")) == 0 })
	_, _ = io.WriteString(enter, "\n")
	select {
	case err := <-ended:
		if err != nil || out.String() != openAISays {
			t.Errorf("%v: got %q, want %q\n%s", err, &out, openAISays, &wrong)
		}
	case <-late:
		t.Fatal("it does not end")
	}
}
