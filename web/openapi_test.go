package web

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
	"github.com/pilotlight/pilotlight/policies"
)

// apiSchemas are the named schemas of openapi.json.
func apiSchemas(t *testing.T) map[string]any {
	t.Helper()
	s, _, _ := newTestServer(t, func(c *Config) { c.Requests = fakeRequests{} })
	return apiSchemasOf(t, s)
}

func apiSchemasOf(t *testing.T, s *Server) map[string]any {
	t.Helper()
	doc := decode[struct {
		Components struct {
			Schemas map[string]any `json:"schemas"`
		} `json:"components"`
	}](t, call(s, "GET", "/api/v1/openapi.json", ""))
	return doc.Components.Schemas
}

// disagreement says where a JSON value is not what its schema allows; seen gets
// the fields met, as Schema.field.
func disagreement(schemas map[string]any, schema map[string]any, name, at string, value any, seen map[string]bool) error {
	if ref, is := schema["$ref"].(string); is {
		name = strings.TrimPrefix(ref, "#/components/schemas/")
		return disagreement(schemas, schemas[name].(map[string]any), name, at, value, seen)
	}
	if either, is := schema["anyOf"].([]any); is {
		if value == nil {
			return nil
		}
		return disagreement(schemas, either[0].(map[string]any), name, at, value, seen)
	}
	if values, is := schema["enum"].([]any); is && !slices.Contains(values, value) {
		return fmt.Errorf("%s is %v, which is none of %v", at, value, values)
	}
	kinds := map[string]bool{}
	switch v := value.(type) {
	case string:
		kinds["string"] = true
	case bool:
		kinds["boolean"] = true
	case float64:
		kinds["number"], kinds["integer"] = true, v == float64(int64(v))
	case []any:
		kinds["array"] = true
		for i, one := range v {
			if err := disagreement(schemas, schema["items"].(map[string]any), name, fmt.Sprintf("%s[%d]", at, i), one, seen); err != nil {
				return err
			}
		}
	case map[string]any:
		kinds["object"] = true
		properties, _ := schema["properties"].(map[string]any)
		for field, one := range v {
			property, there := properties[field].(map[string]any)
			if !there {
				return fmt.Errorf("%s.%s is not documented", at, field)
			}
			seen[name+"."+field] = true
			if err := disagreement(schemas, property, name, at+"."+field, one, seen); err != nil {
				return err
			}
		}
	}
	if kind, _ := schema["type"].(string); !kinds[kind] {
		return fmt.Errorf("%s is %T, documented as %s", at, value, kind)
	}
	return nil
}

// filled gives every field of a value something that is not its zero value.
func filled(v reflect.Value) {
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(time.Now()))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		filled(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			filled(v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		filled(v.Index(0))
	case reflect.String:
		v.SetString("text")
	case reflect.Int:
		v.SetInt(3)
	case reflect.Float64:
		v.SetFloat(1.5)
	}
}

func TestAServiceIsAnsweredAsTheAPIDescriptionSaysFieldByField(t *testing.T) {
	var full jobs.Status
	filled(reflect.ValueOf(&full).Elem())
	full.Name, full.State, full.Replicas.List[0].Phase, full.Notices[0].Kind = "translate", jobs.StateBlocked, jobs.Starting, jobs.NoticeDrift
	s, services, _ := newTestServer(t)
	services.set(func(f *fakeServices) { f.statuses = []jobs.Status{full} })
	schemas, seen := apiSchemas(t), map[string]bool{}
	root := map[string]any{"$ref": "#/components/schemas/ServiceInfo"}
	if err := disagreement(schemas, root, "", "service", decode[any](t, call(s, "GET", "/api/v1/services/translate", "")), seen); err != nil {
		t.Error(err)
	}
	for name := range fieldWords {
		for field, property := range schemas[name].(map[string]any)["properties"].(map[string]any) {
			if !seen[name+"."+field] {
				t.Errorf("%s.%s is documented and never answered", name, field)
			}
			if property.(map[string]any)["description"] == nil {
				t.Errorf("%s.%s is not explained", name, field)
			}
		}
		for field := range fieldWords[name] {
			if !seen[name+"."+field] {
				t.Errorf("%s.%s is explained, and there is no such field", name, field)
			}
		}
	}

	// Nothing known is as good an answer.
	for _, empty := range []jobs.Status{{Name: "translate", State: jobs.StateZero}, readyStatus("translate", time.Now())} {
		services.set(func(f *fakeServices) { f.statuses = []jobs.Status{empty} })
		answer := decode[map[string]any](t, call(s, "GET", "/api/v1/services/translate", ""))
		if err := disagreement(schemas, root, "", "service", any(answer), map[string]bool{}); err != nil {
			t.Error(err)
		}
		if list, is := answer["notices"].([]any); !is || len(list) != 0 {
			t.Errorf("notices are %v, want []", answer["notices"])
		}
	}
	for name := range maps.Keys(fieldValues) {
		if schemas[name] == nil {
			t.Errorf("there is no schema %s", name)
		}
	}
}

func TestAPolicyIsAnsweredAsTheAPIDescriptionSays(t *testing.T) {
	schemas, seen := apiSchemas(t), map[string]bool{}
	for _, one := range policies.Fields() {
		if policyKinds[one.Type] == "" && one.Type != "block" {
			t.Errorf("%s is a %s, of which no JSON type is known", one.Path, one.Type)
		}
	}
	full := strings.Replace(translateText, "to_zero", "cost {\n    usd_per_hour = 2.5\n  }\n  to_zero", 1)
	s, _, _ := newTestServer(t)
	w := call(s, "PUT", "/api/v1/policies/translate?comment=x", full, asHCL, `If-Match: "1"`)
	wantStatus(t, w, 200)
	var value any = decode[any](t, call(s, "GET", "/api/v1/policies/translate", ""))
	if err := disagreement(schemas, map[string]any{"$ref": "#/components/schemas/Policy"}, "", "policy", value, seen); err != nil {
		t.Error(err)
	}
	if !seen["Policy.cost"] || !seen["Policy.usd_per_hour"] {
		t.Errorf("the price is not answered: %v", value)
	}
}

func TestEveryFieldOfTheAPIIsExplained(t *testing.T) {
	s, _, _ := newTestServer(t, func(c *Config) {
		c.Requests, c.Recordings, c.Shadows = fakeRequests{}, aDay(), &fakeShadows{}
	})
	schemas := apiSchemasOf(t, s)
	explained := map[string]bool{}
	for name, schema := range schemas {
		for field, property := range schema.(map[string]any)["properties"].(map[string]any) {
			explained[name+"."+field] = true
			if _, block := property.(map[string]any)["properties"]; block {
				continue // of a policy; its fields follow
			}
			if text, _ := property.(map[string]any)["description"].(string); text == "" {
				t.Errorf("%s.%s is not explained: say in recordWords what it means, its unit, and what null means", name, field)
			}
		}
	}
	for name, block := range schemas["Policy"].(map[string]any)["properties"].(map[string]any) {
		inner, _ := block.(map[string]any)["properties"].(map[string]any)
		for field, property := range inner {
			if property.(map[string]any)["description"] == nil {
				t.Errorf("%s.%s of a policy is not explained", name, field)
			}
		}
	}
	for name, fields := range recordWords {
		for field := range fields {
			if !explained[name+"."+field] {
				t.Errorf("%s.%s is explained, and there is no such field", name, field)
			}
		}
	}
}

func TestADisagreementWithTheAPIDescriptionIsFound(t *testing.T) {
	schemas := apiSchemas(t)
	for _, text := range []string{`{"nme":"a"}`, `{"name":3}`, `{"state":"asleep"}`, `{"replicas":{"list":[{"phase":"dead"}]}}`,
		`{"pinned":1.5}`, `{"notices":null}`, `{"notices":[{"kind":"drift","detail":"one"}]}`, `{"stale":null}`} {
		var value any
		if err := json.Unmarshal([]byte(text), &value); err != nil {
			t.Fatal(err)
		}
		if disagreement(schemas, map[string]any{"$ref": "#/components/schemas/ServiceInfo"}, "", "service", value, map[string]bool{}) == nil {
			t.Errorf("%s is taken as documented", text)
		}
	}
}
