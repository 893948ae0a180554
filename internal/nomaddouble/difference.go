package nomaddouble

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Kinds of a difference.
const (
	diffNone    = "None"
	diffAdded   = "Added"
	diffDeleted = "Deleted"
	diffEdited  = "Edited"
)

// notCompared are fields of a job that a server sets.
var notCompared = []string{"ID", "Version", "CreateIndex", "ModifyIndex", "JobModifyIndex", "SubmitTime", "Status",
	"StatusDescription", "Stable", "TaskGroups", "Update", "VersionTag", "Name", "Namespace", "Region", "Type"}

// difference returns how the job after differs from before, nil for none, in
// the words of a plan. updates, by group, are what it would do; nil for none.
func difference(before, after *job, updates map[string]document) document {
	var was map[string]any
	if before != nil {
		was = before.plain()
	}
	is := after.plain()
	leave := notCompared
	if before == nil {
		leave = slices.DeleteFunc(slices.Clone(leave), func(k string) bool { return slices.Contains([]string{"Name", "Namespace", "Region", "Type"}, k) })
	}
	fields, objects := compared(without(was, leave), without(is, leave), false)
	groups := []any{}
	changed := len(fields) > 0 || len(objects) > 0
	for _, name := range names(was["TaskGroups"], is["TaskGroups"]) {
		g := groupDifference(named(was["TaskGroups"], name), named(is["TaskGroups"], name), name, updates[name])
		changed = changed || g["Type"] != diffNone
		groups = append(groups, g)
	}
	kind := diffNone
	switch {
	case before == nil:
		kind = diffAdded
	case changed:
		kind = diffEdited
	}
	return document{"ID": after.ID, "Type": kind, "Fields": orNull(fields), "Objects": orNull(objects), "TaskGroups": groups}
}

// plain is the job's document as JSON decodes it.
func (j *job) plain() map[string]any {
	raw, err := json.Marshal(j.document())
	if err != nil {
		panic("nomaddouble: a job is no JSON: " + err.Error())
	}
	var d map[string]any
	if err := json.Unmarshal(raw, &d); err != nil {
		panic("nomaddouble: " + err.Error())
	}
	return d
}

func groupDifference(was, is map[string]any, name string, updates document) document {
	leave := []string{"Name", "Tasks"}
	fields, objects := compared(without(was, leave), without(is, leave), false)
	for _, f := range fields {
		if f := f.(document); f["Name"] == "Count" {
			f["Annotations"] = countAnnotation(f["Old"].(string), f["New"].(string))
		}
	}
	changed := len(fields) > 0 || len(objects) > 0
	tasks := []any{}
	for _, t := range names(was["Tasks"], is["Tasks"]) {
		d := taskDifference(named(was["Tasks"], t), named(is["Tasks"], t), t)
		changed = changed || d["Type"] != diffNone
		tasks = append(tasks, d)
	}
	var will any
	if len(updates) > 0 {
		will = updates
	}
	return document{"Name": name, "Type": kindOf(was, is, changed), "Fields": orNull(fields), "Objects": orNull(objects), "Tasks": tasks, "Updates": will}
}

func taskDifference(was, is map[string]any, name string) document {
	leave := []string{"Name", "Identity"}
	fields, objects := compared(without(was, leave), without(is, leave), false)
	d := document{"Name": name, "Annotations": nil, "Fields": orNull(fields), "Objects": orNull(objects),
		"Type": kindOf(was, is, len(fields) > 0 || len(objects) > 0)}
	if d["Type"] != diffNone {
		d["Annotations"] = []string{"forces in-place update"}
		if was == nil || is == nil || taskChanged(was, is) {
			d["Annotations"] = []string{"forces create/destroy update"}
		}
	}
	return d
}

func countAnnotation(from, to string) []string {
	before, _ := strconv.Atoi(from)
	after, _ := strconv.Atoi(to)
	if after < before {
		return []string{"forces destroy"}
	}
	return []string{"forces create"}
}

// compared returns the fields and the objects that differ; with context also
// the fields that do not.
func compared(was, is map[string]any, context bool) (fields, objects []any) {
	old, now := map[string]string{}, map[string]string{}
	flatten(old, was)
	flatten(now, is)
	for _, k := range keys(old, now) {
		before, had := old[k]
		after, has := now[k]
		kind := diffEdited
		switch {
		case had && has && before == after:
			kind = diffNone
		case !had:
			kind = diffAdded
		case !has:
			kind = diffDeleted
		}
		if kind != diffNone || context {
			fields = append(fields, document{"Name": k, "Type": kind, "Old": before, "New": after, "Annotations": nil})
		}
	}
	for _, k := range keys(was, is) {
		if k == "Env" || k == "Meta" {
			continue // their entries are fields
		}
		for i := range max(len(parts(was[k])), len(parts(is[k])), 0) {
			a, b := part(was[k], i), part(is[k], i)
			if (a == nil && b == nil) || reflect.DeepEqual(a, b) {
				continue
			}
			inner, deeper := compared(a, b, true)
			name := k
			if _, many := cmpOr(was[k], is[k]).([]any); many {
				name = strings.TrimSuffix(k, "s")
			}
			objects = append(objects, document{"Name": name, "Type": kindOf(a, b, true), "Fields": orNull(inner), "Objects": orNull(deeper)})
		}
	}
	return fields, objects
}

// flatten puts the scalars of d into flat; those of Env and Meta and of lists
// of texts with their keys.
func flatten(flat map[string]string, d map[string]any) {
	for k, v := range d {
		switch v := v.(type) {
		case []any:
			for i, e := range v {
				if text, ok := scalar(e); ok {
					flat[fmt.Sprintf("%s[%d]", k, i)] = text
				}
			}
		case map[string]any:
			if k == "Env" || k == "Meta" {
				for name, e := range v {
					if text, ok := scalar(e); ok {
						flat[fmt.Sprintf("%s[%s]", k, name)] = text
					}
				}
			}
		default:
			if text, ok := scalar(v); ok {
				flat[k] = text
			}
		}
	}
}

func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, v != ""
	case bool:
		return strconv.FormatBool(v), true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	}
	return "", false
}

// parts are the objects under one key: itself, or those of a list.
func parts(v any) []map[string]any {
	switch v := v.(type) {
	case map[string]any:
		return []map[string]any{v}
	case []any:
		var all []map[string]any
		for _, e := range v {
			if m, ok := e.(map[string]any); ok {
				all = append(all, m)
			}
		}
		return all
	}
	return nil
}

func part(v any, i int) map[string]any {
	if all := parts(v); i < len(all) {
		return all[i]
	}
	return nil
}

func kindOf(was, is map[string]any, changed bool) string {
	switch {
	case was == nil:
		return diffAdded
	case is == nil:
		return diffDeleted
	case changed:
		return diffEdited
	}
	return diffNone
}

func without(d map[string]any, leave []string) map[string]any {
	d = maps.Clone(d)
	for _, k := range leave {
		delete(d, k)
	}
	return d
}

// names of the objects of two lists, each once, those of the second first.
func names(was, is any) []string {
	var all []string
	for _, list := range []any{is, was} {
		for _, m := range parts(list) {
			if name, ok := m["Name"].(string); ok && !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
	}
	return all
}

func named(list any, name string) map[string]any {
	for _, m := range parts(list) {
		if m["Name"] == name {
			return m
		}
	}
	return nil
}

func keys[V any](a, b map[string]V) []string {
	all := slices.Collect(maps.Keys(a))
	for k := range b {
		if _, both := a[k]; !both {
			all = append(all, k)
		}
	}
	slices.SortFunc(all, func(x, y string) int { return cmp.Compare(x, y) })
	return all
}

func cmpOr(a, b any) any {
	if a != nil {
		return a
	}
	return b
}

func orNull(list []any) any {
	if len(list) == 0 {
		return nil
	}
	return list
}

// restarts are the fields of a task that cannot change under a running one.
var restarts = []string{"Driver", "User", "Config", "Env", "Artifacts", "Vault", "Consul", "Templates", "Meta", "Identity",
	"Identities", "Resources", "VolumeMounts", "Kind", "Secrets"}

func taskChanged(was, is map[string]any) bool {
	return slices.ContainsFunc(restarts, func(k string) bool { return !reflect.DeepEqual(was[k], is[k]) })
}

// replaces reports whether allocations of the group must be replaced to run it
// as it is now.
func (g *group) replaces(was *group) bool {
	for _, k := range []string{"Networks", "EphemeralDisk", "Volumes", "Affinities", "Spreads"} {
		if !reflect.DeepEqual(g.doc[k], was.doc[k]) {
			return true
		}
	}
	if len(g.Tasks) != len(was.Tasks) {
		return true
	}
	for _, raw := range asList(g.doc["Tasks"]) {
		t := asMap(raw)
		old := named(was.doc["Tasks"], fmt.Sprint(t["Name"]))
		if old == nil || taskChanged(old, t) {
			return true
		}
	}
	return false
}
