package bench

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestTheNomadOfABenchmarkCountsCallsByRouteAndTellsWhenItWasAskedToScale(t *testing.T) {
	n, end, err := newNomadPart()
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	ask := func(method, path, body string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		n.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
		return w
	}
	ask(http.MethodGet, "/v1/job/a", "")
	ask(http.MethodGet, "/v1/job/b", "")
	before := time.Now()
	ask(http.MethodPut, "/v1/job/b/scale", `{}`)
	ask(http.MethodGet, "/v1/job/b/scale", "")
	if w := ask(http.MethodPost, "/bench/exit?allocation=none", ""); w.Code != http.StatusNotFound {
		t.Errorf("an allocation that is not there: %d", w.Code)
	}
	var told nomadTold
	if err := json.Unmarshal(ask(http.MethodGet, "/bench/told", "").Body.Bytes(), &told); err != nil {
		t.Fatal(err)
	}
	if len(told.Calls) != 3 || told.Calls["GET job/*"] != 2 || told.Calls["PUT job/*/scale"] != 1 {
		t.Errorf("calls %v, want two of one route and one each of two others", told.Calls)
	}
	if told.LastScale.Before(before) || told.LastScale.After(time.Now()) {
		t.Errorf("last scale at %v, want within this test", told.LastScale)
	}
}
