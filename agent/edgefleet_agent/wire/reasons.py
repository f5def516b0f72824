"""Stable codes: why a figure is null, why a run is suspect or invalid, why it failed.

Codes are part of the protocol: they may be added, never renamed. ``docs/reasons.md`` explains each in plain words;
a test compares the two.
"""

from enum import Enum


class Provenance(str, Enum):
    """Where a figure comes from; only ``measured`` counts as a result without being asked for."""

    MEASURED = "measured"
    SIMULATED = "simulated"
    REPLAYED = "replayed"
    EMULATED = "emulated"
    IMPORTED = "imported"


class VerdictStatus(str, Enum):
    """How far a run's figures may be trusted."""

    VALID = "valid"
    SUSPECT = "suspect"
    INVALID = "invalid"


class Reason(str, Enum):
    """Why a figure is null or a verdict is not ``valid``."""

    # a figure is null
    NO_SENSOR = "no_sensor"
    TOO_FEW_SAMPLES = "too_few_samples"
    NO_EVALUATION_DATA = "no_evaluation_data"
    NO_LABELS = "no_labels"
    NOT_READABLE = "not_readable"
    NOT_MEASURED = "not_measured"
    # an energy figure is null
    WINDOW_TOO_SHORT = "window_too_short"
    WINDOW_INCOMPLETE = "window_incomplete"
    IDLE_DRIFT = "idle_drift"
    SENSOR_RESET = "sensor_reset"
    SENSOR_GAP = "sensor_gap"
    SENSOR_LOSS = "sensor_loss"
    SENSOR_SATURATED = "sensor_saturated"
    SENSOR_STUCK = "sensor_stuck"
    SENSOR_MISSING = "sensor_missing"
    SENSOR_IN_USE = "sensor_in_use"
    SENSOR_UNUSABLE = "sensor_unusable"
    READING_INVALID = "reading_invalid"
    WRONG_CHIP = "wrong_chip"
    ADDRESS_CLAIMED = "address_claimed"
    PERMISSION_DENIED = "permission_denied"
    BUS_TIMEOUT = "bus_timeout"
    CLOCK_JUMP = "clock_jump"
    SAMPLER_DIED = "sampler_died"
    # an energy figure is given, with a remark
    SAMPLER_STARVED = "sampler_starved"
    OVERHEAD_HIGH = "overhead_high"
    TOO_FEW_REPEATS = "too_few_repeats"
    NET_NOT_POSITIVE = "net_not_positive"
    SHORTER_THAN_SAMPLE_PERIOD = "shorter_than_sample_period"
    UNCERTAINTY_UNKNOWN = "uncertainty_unknown"
    # a verdict is not valid
    SLOWDOWN = "slowdown"
    NO_STEADY_STATE = "no_steady_state"
    THROTTLED_NOW = "throttled_now"
    THROTTLED_STICKY = "throttled_sticky"
    FREQUENCY_CHANGED = "frequency_changed"
    HOST_BUSY = "host_busy"
    CPU_STEAL = "cpu_steal"
    CPU_CONTENTION = "cpu_contention"
    CPU_PRESSURE = "cpu_pressure"
    MEMORY_PRESSURE = "memory_pressure"
    PAGING = "paging"
    OVERSUBSCRIBED = "oversubscribed"
    GOVERNOR_CHANGED = "governor_changed"
    UNDER_VOLTAGE = "under_voltage"
    VOLTAGE_SAG = "voltage_sag"
    NOT_COOLED_DOWN = "not_cooled_down"
    RATE_NOT_SUSTAINED = "rate_not_sustained"
    TEMPERATURE_HIGH = "temperature_high"
    NON_FINITE_OUTPUT = "non_finite_output"
    EMULATED = "emulated"
    IMPORTED = "imported"
    PLACEMENT_TOO_LOW = "placement_too_low"


class ErrorCode(str, Enum):
    """Why a run could not be measured at all."""

    ARTIFACT_MISSING = "artifact_missing"
    ARTIFACT_HASH_MISMATCH = "artifact_hash_mismatch"
    ARTIFACT_UNREADABLE = "artifact_unreadable"
    ORDER_UNSIGNED = "order_unsigned"
    ORDER_SIGNATURE_INVALID = "order_signature_invalid"
    ORDER_NOT_FRESH = "order_not_fresh"
    SIGNING_KEY_UNKNOWN = "signing_key_unknown"
    UNKNOWN_RUNTIME = "unknown_runtime"
    RUNTIME_UNAVAILABLE = "runtime_unavailable"
    PROVIDER_UNAVAILABLE = "provider_unavailable"
    INTERPRETER_MISSING = "interpreter_missing"
    UNSUPPORTED_INPUT = "unsupported_input"
    EVALUATION_DATA_INVALID = "evaluation_data_invalid"
    GOLDEN_DATA_INVALID = "golden_data_invalid"
    WRONG_OUTPUT = "wrong_output"
    BOARD_MISMATCH = "board_mismatch"
    MODEL_TOO_LARGE = "model_too_large"
    RUNNER_CRASHED = "runner_crashed"
    RUNNER_KILLED = "runner_killed"
    RUNNER_HUNG = "runner_hung"
    RUNNER_PROTOCOL = "runner_protocol"
    OUT_OF_MEMORY = "out_of_memory"
    ENGINE_BUILD_FAILED = "engine_build_failed"
    ACCELERATOR_ERROR = "accelerator_error"
    ACCELERATOR_MISSING = "accelerator_missing"
    NOT_ACCELERATED = "not_accelerated"
    WRONG_RUNTIME = "wrong_runtime"
    DISK_FULL = "disk_full"
    CANCELLED = "cancelled"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    NOT_SUPPORTED = "not_supported"
    INTERNAL = "internal"
