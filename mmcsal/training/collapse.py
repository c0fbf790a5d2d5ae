"""Signs that the embeddings have collapsed: the loss may fall all the same, and the selection would be worthless."""

from collections.abc import Mapping

from mmcsal.models.two_tower import MODALITIES

ONE_POINT = -0.05  # uniformity above which a modality's embeddings are one point, give or take 9 degrees
FEW_DIMENSIONS = 2.0  # effective rank below which they lie on a line or an arc
FEW_PROTOTYPES = 0.05  # usage below which nearly all samples share a handful of prototypes
NO_BETTER_THAN_CHANCE = 2.0  # times the recall of guessing


def collapse_warnings(figures: Mapping[str, float], *, num_clips: int, epoch: int) -> list[str]:
    """One sentence for each sign of collapse in the figures of an epoch: what is wrong, and what to do.

    Args:
        figures: those of `evaluate`.
        num_clips: how many clips they were measured on.
        epoch: from 0; that retrieval works is not asked of the first epoch.
    """
    warnings = []
    for modality in MODALITIES:
        if figures[f"uniformity_{modality}"] > ONE_POINT:
            warnings.append(
                f"all {modality} embeddings are nearly one point (uniformity {figures[f'uniformity_{modality}']:.3f}, "
                "healthy is -2 to -4): check that the clips differ, or lower pretrain.objective.lambda_centroid and "
                "lambda_proto"
            )
        elif figures[f"effective_rank_{modality}"] < FEW_DIMENSIONS:
            warnings.append(
                f"the {modality} embeddings use {figures[f'effective_rank_{modality}']:.1f} dimensions: "
                "lower pretrain.learning_rate, or raise pretrain.batch_size"
            )
        usage = figures.get(f"prototype_usage_{modality}")
        if usage is not None and usage < FEW_PROTOTYPES:
            warnings.append(
                f"the {modality} samples share {usage:.1%} of the prototypes: lower pretrain.objective.lambda_proto, "
                "or use fewer prototypes (pretrain.objective.proto.num_prototypes)"
            )
    recall = max(figures["recall_at_1_video_to_audio"], figures["recall_at_1_audio_to_video"])
    if epoch >= 1 and recall * num_clips < NO_BETTER_THAN_CHANCE:
        warnings.append(
            f"cross-modal retrieval is no better than guessing ({recall:.1%} of {num_clips} clips): check that sound "
            "and picture belong together, train longer, or change pretrain.learning_rate"
        )
    return warnings
