package stub

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/pilotlight/pilotlight/activator/translate"
)

// post sends one request to a stub that is ready and never fails.
func post(t *testing.T, path, contentType, body string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	New(Config{}).Handler().ServeHTTP(w, r)
	return w
}

func TestTranslateRefusesABodyWithoutTextOrTarget(t *testing.T) {
	for _, body := range []string{`{"text":"hi"}`, `{"target_lang":"es"}`, `{"text"`, ``} {
		if got := post(t, "/translate", "application/json", body); got.Code != http.StatusBadRequest {
			t.Errorf("%s: %d, want 400", body, got.Code)
		}
	}
}

func TestEveryAdapterIsUnderstood(t *testing.T) {
	for _, backend := range []string{translate.BackendPassthrough, translate.BackendCompletions, translate.BackendApertium} {
		t.Run(backend, func(t *testing.T) {
			adapter, err := translate.For(backend, "")
			if err != nil {
				t.Fatal(err)
			}
			const body = `{"text":"Hello, how are you today?","source_lang":"en","target_lang":"es"}`
			req, err := translate.Parse([]byte(body), translate.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if req, err = adapter.Validate(req); err != nil {
				t.Fatal(err)
			}
			_, path, header, encoded := adapter.Encode(req)
			w := post(t, path, header.Get("Content-Type"), string(encoded))
			status, answer, err := adapter.Decode(req, w.Code, w.Header(), w.Body.Bytes())
			if err != nil || status != http.StatusOK {
				t.Fatalf("status %d, error %v, of %s", status, err, w.Body)
			}
			var got map[string]string
			if err := json.Unmarshal(answer, &got); err != nil {
				t.Fatal(err)
			}
			want := map[string]string{"translation": "Hola, ¿cómo estás hoy?", "source_lang": "en", "target_lang": "es"}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTheFormIsAnsweredAsApertiumDoes(t *testing.T) {
	const refusal = `{"code":400,"explanation":"%s","message":"Bad Request","status":"error"}`
	for _, c := range []struct {
		name string
		form url.Values
		code int
		want string
	}{
		{"a pair", url.Values{"langpair": {"eng|spa"}, "q": {"big dog"}}, 200,
			`{"responseData":{"translatedText":"[es] big dog"},"responseDetails":null,"responseStatus":200}`},
		{"two-letter codes", url.Values{"langpair": {"es|en"}, "q": {"Hola"}}, 200,
			`{"responseData":{"translatedText":"Hello"},"responseDetails":null,"responseStatus":200}`},
		{"nothing to translate", url.Values{"langpair": {"eng|spa"}, "q": {"  "}}, 200,
			`{"responseData":{"translatedText":""},"responseDetails":null,"responseStatus":200}`},
		{"no such pair", url.Values{"langpair": {"eng|fra"}, "q": {"x"}}, 400, fmt.Sprintf(refusal, "That pair is not installed")},
		{"no pair", url.Values{"langpair": {"eng"}, "q": {"x"}}, 400, fmt.Sprintf(refusal, "That pair is invalid, use e.g. eng|spa")},
		{"no langpair", url.Values{"q": {"x"}}, 400, fmt.Sprintf(refusal, "Missing argument langpair")},
		{"no q", url.Values{"langpair": {"eng|spa"}}, 400, fmt.Sprintf(refusal, "Missing argument q")},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := post(t, "/translate", "application/x-www-form-urlencoded", c.form.Encode())
			if got.Code != c.code {
				t.Errorf("status %d, want %d", got.Code, c.code)
			}
			if diff := cmp.Diff(c.want, strings.TrimSpace(got.Body.String())); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestListPairsCanBeRead(t *testing.T) {
	w := httptest.NewRecorder()
	New(Config{}).Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/listPairs", nil))
	got, err := translate.ParsePairs(w.Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	want := []translate.Pair{{Source: "eng", Target: "spa"}, {Source: "spa", Target: "eng"}, {Source: "fra", Target: "spa"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAChatStreamComesTokenByToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, Config{Latency: time.Second, MsPerToken: 100})
		resp, err := s.client.Post("http://127.0.0.1/v1/chat/completions", "application/json",
			strings.NewReader(`{"model":"m","stream":true,"messages":[{"role":"user","content":[{"type":"text","text":"one two"}]}]}`))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
			t.Errorf("content type %q", got)
		}
		begun, text, finish := time.Now(), "", ""
		var times []time.Duration
		buf := make([]byte, 4096)
		done := false
		for !done {
			n, err := resp.Body.Read(buf)
			for event := range strings.SplitSeq(strings.TrimSpace(string(buf[:n])), "\n\n") {
				data, ok := strings.CutPrefix(event, "data: ")
				if !ok {
					continue
				}
				if data == "[DONE]" {
					done = true
					continue
				}
				times = append(times, time.Since(begun))
				var chunk struct {
					Object  string
					Choices []struct {
						Delta        struct{ Content string }
						FinishReason *string `json:"finish_reason"`
					}
				}
				if err := json.Unmarshal([]byte(data), &chunk); err != nil {
					t.Fatal(err)
				}
				if chunk.Object != "chat.completion.chunk" {
					t.Errorf("object %q", chunk.Object)
				}
				text += chunk.Choices[0].Delta.Content
				if f := chunk.Choices[0].FinishReason; f != nil {
					finish = *f
				}
			}
			if err != nil {
				break
			}
		}
		if !done {
			t.Error("the stream ends without [DONE]")
		}
		if text != "echo: one two" || finish != "stop" {
			t.Errorf("text %q, finish %q", text, finish)
		}
		// The header came with the first token, after 1.1 s.
		if diff := cmp.Diff([]time.Duration{0, 100 * time.Millisecond, 200 * time.Millisecond}, times); diff != "" {
			t.Errorf("times of the chunks: %s", diff)
		}
	})
}

func TestAStreamWhoseClientGoesIsCutAndCountsAsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, Config{MsPerToken: 1000})
		resp, err := s.client.Post("http://127.0.0.1/v1/completions", "application/json",
			strings.NewReader(`{"stream":true,"prompt":"one two three four"}`))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		time.Sleep(1500 * time.Millisecond)
		if stats := s.Stats(); stats.Cancelled != 1 || stats.Finished != 0 || stats.InFlight != 0 {
			t.Errorf("stats %+v; want one cancelled", stats)
		}
	})
}

func TestACompletionStopsAtMaxTokens(t *testing.T) {
	got := post(t, "/v1/completions", "application/json", `{"prompt":"one two three","max_tokens":2}`)
	var answer struct {
		Object  string
		Choices []struct {
			Text         string
			FinishReason string `json:"finish_reason"`
		}
		Usage struct {
			CompletionTokens int `json:"completion_tokens"`
		}
	}
	if err := json.Unmarshal(got.Body.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	if answer.Object != "text_completion" || len(answer.Choices) != 1 ||
		answer.Choices[0].Text != "echo: one " || answer.Choices[0].FinishReason != "length" || answer.Usage.CompletionTokens != 2 {
		t.Errorf("answer %s", got.Body)
	}
}

func TestCompletionsRefuseABodyWithoutPromptOrMessages(t *testing.T) {
	for _, path := range []string{"/v1/completions", "/v1/chat/completions"} {
		if got := post(t, path, "application/json", `{}`); got.Code != http.StatusBadRequest {
			t.Errorf("%s: %d, want 400", path, got.Code)
		}
	}
}

func TestModelsListsTheModel(t *testing.T) {
	w := httptest.NewRecorder()
	New(Config{Model: "translategemma-27b-it"}).Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/models", nil))
	if !strings.Contains(w.Body.String(), `"id":"translategemma-27b-it"`) {
		t.Errorf("models: %s", w.Body)
	}
}

// form builds a multipart body with one file.
func form(t *testing.T, file []byte) (contentType, body string) {
	t.Helper()
	var buf bytes.Buffer
	mw := multipart.NewWriter(&buf)
	if err := mw.WriteField("note", "not a file"); err != nil {
		t.Fatal(err)
	}
	part, err := mw.CreateFormFile("image", "picture.bin")
	if err != nil {
		t.Fatal(err)
	}
	part.Write(file)
	if err := mw.Close(); err != nil {
		t.Fatal(err)
	}
	return mw.FormDataContentType(), buf.String()
}

func TestRecognizeReadsFormatAndSizeOfAnImage(t *testing.T) {
	picture := image.NewGray(image.Rect(0, 0, 32, 18))
	var asPNG, asJPEG bytes.Buffer
	if err := png.Encode(&asPNG, picture); err != nil {
		t.Fatal(err)
	}
	if err := jpeg.Encode(&asJPEG, picture, nil); err != nil {
		t.Fatal(err)
	}
	for format, file := range map[string][]byte{"png": asPNG.Bytes(), "jpeg": asJPEG.Bytes()} {
		contentType, body := form(t, file)
		got := post(t, "/recognize", contentType, body)
		var answer Recognition
		if err := json.Unmarshal(got.Body.Bytes(), &answer); err != nil {
			t.Fatalf("%d %s: %v", got.Code, got.Body, err)
		}
		if answer.Format != format || answer.Width != 32 || answer.Height != 18 || answer.Bytes != len(file) || answer.Name != "picture.bin" {
			t.Errorf("answer %+v", answer)
		}
		if len(answer.Labels) != 2 || answer.Labels[0].Score < answer.Labels[1].Score {
			t.Errorf("labels %+v; want two, the likelier first", answer.Labels)
		}
		if again := post(t, "/recognize", contentType, body); again.Body.String() != got.Body.String() {
			t.Errorf("the same image has other labels: %s and %s", got.Body, again.Body)
		}
	}
}

func TestRecognizeRefusesWhatIsNoImage(t *testing.T) {
	contentType, body := form(t, []byte("not an image"))
	for _, c := range []struct {
		contentType, body string
		want              int
	}{
		{contentType, body, http.StatusBadRequest},
		{contentType, "no parts", http.StatusBadRequest},
		{"application/json", "{}", http.StatusUnsupportedMediaType},
	} {
		if got := post(t, "/recognize", c.contentType, c.body); got.Code != c.want {
			t.Errorf("%s: %d, want %d", c.contentType, got.Code, c.want)
		}
	}
}

func TestABodyOverTheLimitIsRefused(t *testing.T) {
	body := `{"text":"` + strings.Repeat("x", maxBodyBytes) + `","target_lang":"es"}`
	if got := post(t, "/translate", "application/json", body); got.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("status %d, want 413", got.Code)
	}
}

func TestMetricsAreInPrometheusFormatUnderTheNamesOfVLLMAndDCGM(t *testing.T) {
	w := httptest.NewRecorder()
	New(Config{GPUUtil: "42.5", Model: `odd"name`}).Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{
		"vllm:num_requests_running": 0,
		"vllm:num_requests_waiting": 0,
		"vllm:kv_cache_usage_perc":  0,
		"DCGM_FI_DEV_GPU_UTIL":      42.5,
		"DCGM_FI_DEV_FB_USED":       weightsMiB,
		"DCGM_FI_DEV_FB_FREE":       totalMiB - weightsMiB,
	} {
		family := families[name]
		if family == nil || len(family.GetMetric()) != 1 {
			t.Errorf("%s: %v, want one", name, family)
			continue
		}
		if got := family.GetMetric()[0].GetGauge().GetValue(); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}
