"""Settings of the tool loop."""

from pydantic import Field

from lm_sandbox.config.section import Positive, PositiveSeconds, Section


class AgentSettings(Section):
    """Bounds of one run of the tool loop."""

    max_steps: Positive = Field(12, description="model turns in one run")
    max_commands: Positive = Field(50, description="commands in one run")
    max_wall_s: PositiveSeconds = Field(600.0, description="wall time of one run")
    max_tool_output_chars: Positive = Field(
        16_000, description="characters of one output that the model sees"
    )
    command_timeout_s: PositiveSeconds = Field(60.0, description="wall time of one command")
    conversation_idle_s: PositiveSeconds = Field(
        1800.0, description="how long a conversation that rests keeps its sandbox"
    )
    background_runs: Positive = Field(16, description="runs of one caller in the background at once")
    runs_kept_days: Positive = Field(30, description="how long stored runs are kept")
    uploads_mib: Positive = Field(10_240, description="disk that uploaded files may take together, in MiB")
    upload_mib: Positive = Field(512, description="size of one uploaded file, in MiB")
