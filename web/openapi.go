package web

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/pilotlight/pilotlight/policies"
)

func (s *Server) getOpenAPI(c echo.Context) error {
	return c.Blob(http.StatusOK, mediaJSON, s.openAPI)
}

// describe makes the OpenAPI 3.1 document of the API routes of a table. Schemas
// are read off the Go types that the handlers encode.
func describe(table []route, version string) ([]byte, error) {
	paths := map[string]map[string]any{}
	schemas := schemaSet{}
	for _, r := range table {
		if r.api == nil {
			continue
		}
		path := openAPIPath(r.path)
		if paths[path] == nil {
			paths[path] = map[string]any{}
		}
		paths[path][strings.ToLower(r.method)] = schemas.operation(r)
	}
	return json.Marshal(map[string]any{
		"openapi": "3.1.0",
		"info": map[string]any{"title": "Pilotlight control plane", "version": version,
			"description": "Unknown is null, never 0. Times are RFC 3339 UTC. Every error is application/problem+json."},
		"paths":      paths,
		"components": map[string]any{"schemas": schemas},
	})
}

// openAPIPath writes /services/:name as /services/{name}.
func openAPIPath(path string) string {
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		if name, isParam := strings.CutPrefix(segment, ":"); isParam {
			segments[i] = "{" + name + "}"
		}
	}
	return strings.Join(segments, "/")
}

// schemaSet are the named schemas met so far.
type schemaSet map[string]any

func (set schemaSet) operation(r route) map[string]any {
	op := map[string]any{"summary": r.api.summary}
	var params []any
	for _, p := range r.api.params {
		params = append(params, map[string]any{"in": p.in, "name": p.name, "required": p.required,
			"description": p.about, "schema": map[string]any{"type": p.kind}})
	}
	if params != nil {
		op["parameters"] = params
	}
	if r.api.body != nil {
		op["requestBody"] = map[string]any{"content": set.contents(r.api.body)}
	}
	responses := map[string]any{}
	for _, a := range r.api.answers {
		response := map[string]any{"description": a.about}
		if a.of != nil {
			response["content"] = set.contents(a.of)
		}
		headers := map[string]any{}
		if a.etag {
			headers["ETag"] = header("the version")
		}
		if a.warns {
			headers["Warning"] = header("299 pilotlight \"…\": what is probably not meant in what was saved, each in a line of its own; it is in force all the same")
		}
		if len(headers) > 0 {
			response["headers"] = headers
		}
		responses[strconv.Itoa(a.status)] = response
	}
	op["responses"] = responses
	return op
}

func header(about string) map[string]any {
	return map[string]any{"description": about, "schema": map[string]any{"type": "string"}}
}

func (set schemaSet) contents(list []content) map[string]any {
	out := map[string]any{}
	for _, c := range list {
		schema := any(map[string]any{"type": "string"})
		if c.of != nil {
			schema = set.of(reflect.TypeOf(c.of))
		}
		out[c.media] = map[string]any{"schema": schema}
	}
	return out
}

// of is the schema of a type as encoding/json writes it; a pointer may be null.
func (set schemaSet) of(t reflect.Type) any {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string", "format": "date-time"}
	case t == reflect.TypeFor[policies.Policy]():
		set["Policy"] = policySchema()
		return map[string]any{"$ref": "#/components/schemas/Policy"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return map[string]any{"anyOf": []any{set.of(t.Elem()), map[string]any{"type": "null"}}}
	case reflect.Struct:
		return set.named(t)
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return map[string]any{"type": "string", "contentEncoding": "base64"}
		}
		return map[string]any{"type": "array", "items": set.of(t.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": set.of(t.Elem())}
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Float32, reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Interface:
		return map[string]any{}
	default:
		return map[string]any{"type": "integer"}
	}
}

func (set schemaSet) named(t reflect.Type) any {
	ref := map[string]any{"$ref": "#/components/schemas/" + t.Name()}
	if _, done := set[t.Name()]; done {
		return ref
	}
	properties := map[string]any{}
	set[t.Name()] = map[string]any{"type": "object", "properties": properties} // before the fields: types may nest
	set.fields(t, t.Name(), properties)
	return ref
}

// fields adds those of t to the schema of that name; an outer field hides an
// embedded one of the same name.
func (set schemaSet) fields(t reflect.Type, schema string, into map[string]any) {
	for field := range t.Fields() {
		if field.Anonymous {
			set.fields(field.Type, schema, into)
		}
	}
	for field := range t.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.Anonymous || !field.IsExported() || name == "-" {
			continue
		}
		if name == "" {
			name = field.Name
		}
		into[name] = explained(set.of(field.Type), schema, name)
	}
}
