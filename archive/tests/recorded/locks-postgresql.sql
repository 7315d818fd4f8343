
CREATE TABLE public.sync_controller (
    controller character varying(64) NOT NULL,
    "time" timestamp without time zone
);

CREATE TABLE public.sync_limit (
    name character varying(256) NOT NULL,
    sizelimit integer
);

CREATE TABLE public.sync_lock (
    name character varying(256) NOT NULL,
    controller character varying(64) NOT NULL,
    "time" timestamp without time zone
);

CREATE TABLE public.sync_schema_history (
    schema_version integer NOT NULL
);

CREATE TABLE public.sync_state (
    name character varying(256) NOT NULL,
    workflowkey character varying(256) NOT NULL,
    controller character varying(64) NOT NULL,
    held boolean,
    priority integer,
    "time" timestamp without time zone
);

INSERT INTO public.sync_controller VALUES ('argos', '2026-11-22 07:26:21.445406');

INSERT INTO public.sync_limit VALUES ('db-locks/places', 2);

INSERT INTO public.sync_schema_history VALUES (10);

INSERT INTO public.sync_state VALUES ('sem/db-locks/places', 'db-locks/a1', 'argos', true, 0, '2026-11-22 07:26:04');
INSERT INTO public.sync_state VALUES ('mtx/db-locks/shared', 'db-locks/a1', 'argos', true, 0, '2026-11-22 07:26:04');
INSERT INTO public.sync_state VALUES ('sem/db-locks/places', 'db-locks/a2', 'argos', false, 5, '2026-11-22 07:26:07');
INSERT INTO public.sync_state VALUES ('mtx/db-locks/shared', 'db-locks/a2', 'argos', false, 5, '2026-11-22 07:26:07');

ALTER TABLE ONLY public.sync_controller
    ADD CONSTRAINT sync_controller_pkey PRIMARY KEY (controller);

ALTER TABLE ONLY public.sync_limit
    ADD CONSTRAINT sync_limit_pkey PRIMARY KEY (name);

ALTER TABLE ONLY public.sync_lock
    ADD CONSTRAINT sync_lock_pkey PRIMARY KEY (name);

ALTER TABLE ONLY public.sync_schema_history
    ADD CONSTRAINT sync_schema_history_pkey PRIMARY KEY (schema_version);

ALTER TABLE ONLY public.sync_state
    ADD CONSTRAINT sync_state_pkey PRIMARY KEY (name, workflowkey, controller);

CREATE UNIQUE INDEX icontroller_name ON public.sync_controller USING btree (controller);

CREATE UNIQUE INDEX ilimit_name ON public.sync_limit USING btree (name);

CREATE UNIQUE INDEX ilock_name ON public.sync_lock USING btree (name);

CREATE INDEX istate_controller ON public.sync_state USING btree (controller);

CREATE INDEX istate_held ON public.sync_state USING btree (held);

CREATE INDEX istate_name ON public.sync_state USING btree (name);

CREATE INDEX istate_workflowkey ON public.sync_state USING btree (workflowkey);

