package main

type policyCommand struct{}
type jobCommand struct{}
type translateCommand struct{}
type serviceCommand struct{}
type benchCommand struct{}

func (policyCommand) Run() error    { return nil }
func (jobCommand) Run() error       { return nil }
func (translateCommand) Run() error { return nil }
func (serviceCommand) Run() error   { return nil }
func (benchCommand) Run() error     { return nil }
